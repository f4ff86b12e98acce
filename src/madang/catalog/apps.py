from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "madang.catalog"
    label = "catalog"

    def ready(self) -> None:
        from madang.catalog.queries import resource_names, resource_places
        from madang.identity import places
        from madang.identity.models import Scope
        from madang.identity.scopes import offer

        offer(Scope.RESOURCE, resource_names)
        places.tell("catalog.resource", resource_places)
