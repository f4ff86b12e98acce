from django.urls import URLPattern, path

from madang.programs import views

app_name = "programs"
urlpatterns: list[URLPattern] = [
    path("", views.listed, name="list"),
    path("new/", views.add, name="add"),
    path("site/", views.site, name="site"),
    path("sources/", views.sources, name="sources"),
    path("sources/new/", views.source_add, name="source-add"),
    path("sources/<slug:code>/", views.source_edit, name="source-edit"),
    path("figures/new/", views.figure_add, name="figure-add"),
    path("figures/<int:id>/", views.figure_edit, name="figure-edit"),
    path("purses/<int:id>/", views.purse_edit, name="purse-edit"),
    path("indicators/new/", views.indicator_add, name="indicator-add-site"),
    path("indicators/<slug:code>/", views.indicator_edit, name="indicator-edit"),
    path("indicators/<slug:code>/target/", views.target, name="target"),
    path("<slug:code>/", views.detail, name="detail"),
    path("<slug:code>/edit/", views.edit, name="edit"),
    path("<slug:code>/purses/new/", views.purse_add, name="purse-add"),
    path("<slug:code>/indicators/new/", views.indicator_add, name="indicator-add"),
]
