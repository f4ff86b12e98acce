from django.urls import path

from madang.portal import home, views

app_name = "portal"
urlpatterns = [
    path("", home.home, name="home"),
    path("my/", home.my, name="my"),
    path("search/", home.search, name="search"),
    path("healthz", home.healthz, name="healthz"),
    path("demo-login/", home.demo_login, name="demo-login"),
    path("contrast/", views.contrast, name="contrast"),
    path("dev/mail/", home.mail, name="mail"),
    path("dev/components/", views.components, name="components"),
]
