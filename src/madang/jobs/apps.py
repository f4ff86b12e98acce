from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "madang.jobs"
    label = "jobs"
