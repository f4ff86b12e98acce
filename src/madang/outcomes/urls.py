from django.urls import path

from madang.outcomes import views

app_name = "outcomes"
urlpatterns = [
    path("", views.index, name="list"),
    path("queue/", views.queue, name="queue"),
    path("report/<slug:number>/", views.report, name="report"),
    path("<int:id>/", views.detail, name="outcome"),
    path("<int:id>/correct/", views.correct, name="correct"),
    path("<int:id>/verify/", views.verify, name="verify"),
    path("<int:id>/return/", views.give_back, name="return"),
    path("<int:id>/evidence/<int:evidence>/", views.evidence, name="evidence"),
]
