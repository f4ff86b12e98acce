from django.urls import path

from madang.grants import views, views_steward

app_name = "grants"
urlpatterns = [
    path("", views.index, name="list"),
    path("ledger/", views.site_ledger, name="ledger"),
    path("ledger/close/", views.close_month, name="close-month"),
    path("announce/<slug:code>/", views.announce, name="announce"),
    path("reserve/<slug:code>/", views.reserve, name="reserve"),
    path("reserve/<slug:code>/<int:application>/promote/", views.promote, name="promote"),
    path("steward/", views_steward.lent, name="steward"),
    path("steward/<int:allocation>/pause/", views_steward.pause, name="steward-pause"),
    path("steward/<int:allocation>/resume/", views_steward.resume, name="steward-resume"),
    path("<slug:number>/", views.detail, name="grant"),
    path("<slug:number>/agreement/", views.agreement, name="agreement"),
    path("<slug:number>/decline/", views.decline, name="decline"),
    path("<slug:number>/history/", views.history, name="history"),
    path("<slug:number>/close/", views.close, name="close"),
    path("<slug:number>/allocations/<int:allocation>/", views.statement, name="statement"),
    path("<slug:number>/allocations/<int:allocation>/pause/", views.pause, name="pause"),
    path("<slug:number>/allocations/<int:allocation>/resume/", views.resume, name="resume"),
]
