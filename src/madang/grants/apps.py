from django.apps import AppConfig


class GrantsConfig(AppConfig):
    name = "madang.grants"
    label = "grants"
