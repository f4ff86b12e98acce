from django.apps import AppConfig


class OutcomesConfig(AppConfig):
    name = "madang.outcomes"
    label = "outcomes"
