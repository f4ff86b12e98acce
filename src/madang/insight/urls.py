from django.urls import path

from madang.insight import views

app_name = "insight"
urlpatterns = [
    path("", views.board, name="board"),
    path("download.csv", views.download, name="download"),
    path("focus/", views.focus_table, name="focus"),
    path("<slug:code>/", views.trace, name="trace"),
]
