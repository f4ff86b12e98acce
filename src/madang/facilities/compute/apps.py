from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "madang.facilities.compute"
    label = "compute"
