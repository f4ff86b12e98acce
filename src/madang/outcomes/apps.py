from django.apps import AppConfig


class OutcomesConfig(AppConfig):
    name = "madang.outcomes"
    label = "outcomes"

    def ready(self) -> None:
        from madang.grants.facility import register_panel
        from madang.identity import places
        from madang.outcomes import queries
        from madang.outcomes.panel import panel

        register_panel(panel)
        places.tell("outcomes.outcome", queries.outcome_places)
