from django.urls import URLPattern, path

from madang.identity import views, views_setup, views_staff

app_name = "identity"
urlpatterns: list[URLPattern] = [
    path("setup/", views_setup.setup, name="setup"),
    path("organization/", views.organizations, name="organizations"),
    path("organization/new/", views.organization_new, name="organization-new"),
    path("organization/<int:id>/", views.organization, name="organization"),
    path("organization/<int:id>/edit/", views.organization_edit, name="organization-edit"),
    path("organization/<int:id>/invite/", views.invite, name="invite"),
    path("organization/members/<int:id>/role/", views.membership_role, name="membership-role"),
    path("organization/members/<int:id>/end/", views.membership_end, name="membership-end"),
    path("invitations/<int:id>/withdraw/", views.invitation_withdraw, name="invitation-withdraw"),
    path("invitations/<str:secret>/", views.invitation, name="invitation"),
    path("people/", views_staff.people, name="people"),
    path("people/new/", views_staff.person_new, name="person-new"),
    path("people/me/", views.account, name="account"),
    path("people/log/", views_staff.log, name="log"),
    path("people/<int:id>/", views_staff.person, name="person"),
    path("people/roles/<int:id>/end/", views_staff.role_end, name="role-end"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<int:id>/revoke/", views.token_revoke, name="token-revoke"),
]
