from django.urls import URLPattern, path

from madang.catalog import views

app_name = "catalog"
urlpatterns: list[URLPattern] = [
    path("", views.listed, name="list"),
    path("new/", views.kinds, name="kinds"),
    path("new/<str:kind>/", views.add, name="add"),
    path("places/new/", views.place, name="place"),
    path("<slug:code>/", views.detail, name="detail"),
    path("<slug:code>/edit/", views.edit, name="edit"),
    path("<slug:code>/rate/", views.rate, name="rate"),
    path("<slug:code>/<str:verb>/", views.move, name="move"),
]
