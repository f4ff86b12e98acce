from django.urls import path

from madang.calls import (
    views,
    views_application,
    views_author,
    views_decision,
    views_manage,
    views_review,
    views_screening,
)

app_name = "calls"
urlpatterns = [
    path("calls/", views.call_list, name="list"),
    path("calls/managed/", views_manage.managed, name="managed"),
    path("calls/new/", views_author.new, name="new"),
    path("calls/<slug:code>/", views.detail, name="detail"),
    path("calls/<slug:code>/apply/", views.apply, name="apply"),
    path("calls/<slug:code>/manage/", views_manage.manage, name="manage"),
    path("calls/<slug:code>/manage/edit/", views_author.edit, name="edit"),
    path("calls/<slug:code>/manage/edit/<slug:step>/", views_author.edit, name="edit-step"),
    path("calls/<slug:code>/manage/preview/", views_author.preview, name="preview"),
    path("calls/<slug:code>/manage/applications/", views_screening.applications, name="applications"),
    path("calls/<slug:code>/manage/assignment/", views_decision.assign, name="assign"),
    path("calls/<slug:code>/manage/decisions/", views_decision.decide, name="decide"),
    path("calls/<slug:code>/manage/decisions/effect/", views_decision.effect, name="effect"),
    path("applications/", views_application.mine, name="my-applications"),
    path("applications/<int:id>/", views_application.application, name="application"),
    path("applications/<int:id>/edit/", views_application.edit, name="application-edit"),
    path("applications/<int:id>/withdraw/", views_application.withdraw, name="withdraw"),
    path("applications/<int:id>/documents/<slug:code>/remove/", views_application.remove, name="document-remove"),
    path("applications/<int:id>/screening/", views_screening.application, name="application-officer"),
    path("receipts/<int:id>/", views_application.receipt, name="receipt"),
    path("documents/<int:id>/", views.document, name="document"),
    path("reviews/", views_review.queue, name="reviews"),
    path("reviews/<int:id>/", views_review.review, name="review"),
    path("reviews/<int:id>/recuse/", views_review.recuse, name="recuse"),
]
