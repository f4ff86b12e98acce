from django.apps import AppConfig


class GrantsConfig(AppConfig):
    name = "madang.grants"
    label = "grants"

    def ready(self) -> None:
        from madang.calls import eligibility
        from madang.grants import queries

        eligibility.ask_about_grants(queries.others_running)
