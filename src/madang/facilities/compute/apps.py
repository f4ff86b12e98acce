from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "madang.facilities.compute"
    label = "compute"

    def ready(self) -> None:
        from madang.facilities.compute.facility import ComputeFacility, StorageFacility
        from madang.facilities.compute.host import site
        from madang.grants import facility
        from madang.jobs import engines

        facility.register(ComputeFacility())
        facility.register(StorageFacility())
        engines.register(site)
