from django.apps import AppConfig


class ProgramsConfig(AppConfig):
    name = "madang.programs"
    label = "programs"
