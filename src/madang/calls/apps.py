from django.apps import AppConfig


class CallsConfig(AppConfig):
    name = "madang.calls"
    label = "calls"

    def ready(self) -> None:
        from madang.calls.queries import public
        from madang.catalog import offers
        from madang.identity import places

        offers.tell(public.offers_of)
        places.tell("calls.call", public.call_places)
