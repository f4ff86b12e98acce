from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "madang.identity"
    label = "identity"
