from django.urls import path

from madang.planning import views

app_name = "planning"
urlpatterns = [
    path("", views.index, name="list"),
    path("new/", views.new, name="new"),
    path("calibration/", views.calibration, name="calibration"),
    path("<int:id>/", views.detail, name="plan"),
    path("<int:id>/edit/", views.edit, name="edit"),
    path("<int:id>/simulate/", views.simulate, name="simulate"),
    path("<int:id>/stop/", views.stop, name="stop"),
    path("<int:id>/state/", views.state, name="state"),
    path("<int:id>/download.csv", views.download, name="download"),
]
