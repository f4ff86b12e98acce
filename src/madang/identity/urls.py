from django.urls import URLPattern, path

from madang.identity import views

app_name = "identity"
urlpatterns: list[URLPattern] = [path("invitations/<str:secret>/", views.invitation, name="invitation")]
