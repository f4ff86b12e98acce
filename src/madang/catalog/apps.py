from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "madang.catalog"
    label = "catalog"
