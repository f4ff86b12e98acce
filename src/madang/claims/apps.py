from django.apps import AppConfig


class ClaimsConfig(AppConfig):
    name = "madang.claims"
    label = "claims"
