from django.apps import AppConfig


class GrantsConfig(AppConfig):
    name = "madang.grants"
    label = "grants"

    def ready(self) -> None:
        from madang.calls import effect, eligibility
        from madang.grants import queries
        from madang.identity import places

        eligibility.ask_about_grants(queries.others_running)
        effect.ask_about_promises(queries.promises)
        places.tell("grants.grant", queries.grant_places)
        places.tell("grants.allocation", queries.allocation_places)
