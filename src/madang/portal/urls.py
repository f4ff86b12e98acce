from django.urls import path

from madang.portal import views

app_name = "portal"
urlpatterns = [
    path("contrast/", views.contrast, name="contrast"),
    path("dev/components/", views.components, name="components"),
]
