from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "madang.facilities.compute"
    label = "compute"

    def ready(self) -> None:
        from madang.calls import effect
        from madang.facilities.compute import queries
        from madang.facilities.compute.facility import ComputeFacility, StorageFacility
        from madang.facilities.compute.host import site
        from madang.grants import facility
        from madang.jobs import engines

        facility.register(ComputeFacility())
        facility.register(StorageFacility())
        engines.register(site)
        effect.ask_about_queues(queries.queues)
