from django.apps import AppConfig


class ProgramsConfig(AppConfig):
    name = "madang.programs"
    label = "programs"

    def ready(self) -> None:
        from madang.identity import places
        from madang.identity.models import Scope
        from madang.identity.scopes import offer
        from madang.programs.queries import program_names, program_places

        offer(Scope.PROGRAM, program_names)
        places.tell("programs.program", program_places)
