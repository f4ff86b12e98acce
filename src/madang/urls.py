from django.urls import URLPattern, URLResolver, include, path

from madang.portal.api import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("i18n/", include("django.conf.urls.i18n")),
    path("accounts/", include("allauth.urls")),
    path("api/v1/", api.urls),
    path("catalog/", include("madang.catalog.urls")),
    path("programs/", include("madang.programs.urls")),
    path("grants/", include("madang.grants.urls")),
    path("compute/", include("madang.facilities.compute.urls")),
    path("outcomes/", include("madang.outcomes.urls")),
    path("board/", include("madang.insight.urls")),
    path("plans/", include("madang.planning.urls")),
    path("", include("madang.identity.urls")),
    path("", include("madang.calls.urls")),
    path("", include("madang.portal.urls")),
]
