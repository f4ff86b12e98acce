from django.urls import path

from madang.facilities.compute import session_views, views

app_name = "compute"
urlpatterns = [
    path("", views.partitions, name="partitions"),
    path("partitions/<slug:code>/", views.partition, name="partition"),
    path("health/", views.health, name="health"),
    path("clusters/add/", views.add_cluster, name="add_cluster"),
    path("nodes/", views.nodes, name="nodes"),
    path("strays/", views.strays, name="strays"),
    path("accounts/", views.accounts, name="accounts"),
    path("partitions-add/", views.add_partition, name="add_partition"),
    path("templates/", views.templates, name="templates"),
    path("templates-add/", views.template, name="add_template"),
    path("templates/<slug:code>/", views.template, name="template"),
    path("templates/<slug:code>/drop/", views.drop_template, name="drop_template"),
    path("files/", views.files, name="files"),
    path("files/<int:id>/", views.project_file, name="project_file"),
    path("files/<int:id>/delete/", views.delete_file, name="delete_file"),
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/new/", views.new, name="new"),
    path("jobs/<uuid:uuid>/", views.job, name="job"),
    path("jobs/<uuid:uuid>/log/", views.log, name="log"),
    path("jobs/<uuid:uuid>/log.txt", views.whole_log, name="whole_log"),
    path("jobs/<uuid:uuid>/script.txt", views.script, name="script"),
    path("jobs/<uuid:uuid>/files/<path:path>", views.file, name="file"),
    path("jobs/<uuid:uuid>/cancel/", views.cancel, name="cancel"),
    path("jobs/<uuid:uuid>/delete-files/", views.delete_files, name="delete_files"),
    path("sessions/", session_views.listed, name="sessions"),
    path("sessions/new/", session_views.new, name="session_new"),
    path("sessions/kinds/", session_views.kinds, name="session_kinds"),
    path("sessions/kinds/<slug:code>/<slug:verb>/", session_views.offer, name="session_offer"),
    path("sessions/<uuid:uuid>/", session_views.session, name="session"),
    path("sessions/<uuid:uuid>/state/", session_views.state, name="session_state"),
    path("sessions/<uuid:uuid>/open/", session_views.enter, name="session_open"),
    path("sessions/<uuid:uuid>/end/", session_views.end, name="session_end"),
]
