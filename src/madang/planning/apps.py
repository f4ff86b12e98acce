from django.apps import AppConfig


class PlanningConfig(AppConfig):
    name = "madang.planning"
    label = "planning"
