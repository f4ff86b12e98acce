from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "madang.identity"
    label = "identity"

    def ready(self) -> None:
        from madang.identity import places, queries

        places.tell("identity.person", queries.people_places)
        places.tell("identity.organization", queries.organization_places)
