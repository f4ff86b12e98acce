from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, pgettext_lazy

from madang.catalog.models import Resource
from madang.engines.base import MAX_TASKS, WORD
from madang.facilities.compute.models import Cluster, EngineKind, Program, ProjectFile, SessionKind
from madang.facilities.compute.queries import Offer
from madang.jobs.actions import MOST_REASON
from madang.jobs.checks import MOST_SCRIPT_BYTES
from madang.jobs.sweeps import MOST_TABLE
from madang.web import amounts
from madang.web.forms import Form, Instant, TextField, Upload, Uploads, WholeNumber

TYPICAL_MINUTES = 60
TYPICAL_SESSION_MINUTES = 120


def a_word(value: str) -> None:
    if not WORD.fullmatch(value):
        raise ValidationError(_("Only letters, digits and hyphens."))


class Minutes(WholeNumber):
    """A time limit in minutes; its value is seconds."""

    def clean(self, value: Any) -> int | None:
        minutes = super().clean(value)
        return None if minutes is None else minutes * 60


class Mark(forms.UUIDField):
    """The hidden uuid by which a form that is sent twice is one job. People don't know it, so it isn't named."""

    widget = forms.HiddenInput

    def __init__(self, **kwargs: Any) -> None:
        said = _("This form can't be sent as it is: load the page again.")
        super().__init__(error_messages={"required": said, "invalid": said}, **kwargs)


class ScriptText(forms.CharField):
    """Several lines, kept as they are: leading blanks and the last line end mean something to a program."""

    widget = forms.Textarea(attrs={"rows": 16, "class": "code", "spellcheck": "false", "autocapitalize": "off"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, max_length=MOST_SCRIPT_BYTES, **kwargs)


class TableText(forms.CharField):
    """A table in CSV, kept as it was typed."""

    widget = forms.Textarea(
        attrs={"rows": 5, "class": "code", "spellcheck": "false", "autocapitalize": "off", "placeholder": "lr,seed"}
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, max_length=MOST_TABLE, **kwargs)


class SubmitForm(Form):
    """What to run, on which allocation, with how much. Offers only what allocation, partition and balance allow."""

    uuid = Mark()
    allocation = forms.TypedChoiceField(label=_("Allocation"), coerce=int)
    gpus = forms.TypedChoiceField(label=_("GPUs"), coerce=int)
    limit_s = Minutes(
        label=_("Time limit (minutes)"),
        min_value=1,
        help_text=_("The job is ended when it is reached. What it doesn't use comes back."),
    )
    name = TextField(label=_("Name"), max_length=80)
    file = Upload(
        label=_("Script file"),
        required=False,
        help_text=_("Choose a file, or paste the script below: one of the two is needed. At most 200 kB."),
    )
    script = ScriptText(
        label=_("Script"),
        required=False,
        help_text=_("Its first line names the program that runs it: #!/usr/bin/env python3"),
    )
    tasks = WholeNumber(
        label=_("Tasks"),
        min_value=1,
        max_value=MAX_TASKS,
        required=False,
        help_text=_("How often it runs, each time with its own GPUs and limit. MADANG_TASK says which: 0, 1, 2 …"),
    )
    parallel = WholeNumber(
        label=_("At once at most"),
        min_value=0,
        max_value=MAX_TASKS,
        required=False,
        help_text=_("Empty: as many as fit."),
    )
    table = Upload(
        label=_("Parameter table as a file"),
        required=False,
        help_text=_("CSV, or paste it below."),
    )
    parameters = TableText(
        label=_("Parameter table"),
        required=False,
        help_text=_(
            "CSV: the first line names variables, each further line is one task that gets them as environment."
        ),
    )
    files = forms.MultipleChoiceField(  # type: ignore[assignment]
        label=_("Files of the project"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Each task finds a copy of them where it starts."),
    )
    attach = Uploads(
        label=_("Add files"),
        required=False,
        help_text=_("They are kept with the project, and the job gets them, too."),
    )
    arguments = TextField(
        label=_("Arguments"),
        max_length=4000,
        required=False,
        help_text=_("As on a command line, for example: --epochs 20"),
    )
    requeue = forms.BooleanField(
        label=_("Start again when its node fails or it is preempted"),
        required=False,
        help_text=_("It begins anew, in the folder as it was left: the script has to go on from its own checkpoint."),
    )

    def __init__(
        self,
        offers: Sequence[Offer],
        *args: Any,
        chosen: Offer | None = None,
        kept: Sequence[ProjectFile] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["files"].choices = _files(kept)  # type: ignore[attr-defined]
        self.offers = {offer.allocation.pk: offer for offer in offers}
        self.chosen = chosen or (offers[0] if offers else None)
        self.fields["allocation"].choices = [(pk, _line_of(offer)) for pk, offer in self.offers.items()]  # type: ignore[attr-defined]
        for name in ("file", "script"):
            self.fields[name].either = True  # type: ignore[attr-defined]
        self.fields["uuid"].initial = uuid4
        if self.chosen:
            longest = max(1, self.chosen.partition.longest_s // 60)
            _offer(self, self.chosen, self.chosen.counts, longest, TYPICAL_MINUTES)
            if not self.chosen.partition.cluster.starts_again:
                del self.fields["requeue"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        file, script = cleaned.get("file"), cleaned.get("script")
        if file and script and script.strip():
            self.add_error("script", _("Give the script once: as a file or pasted."))
        elif file:
            cleaned["script"] = self._read("file", file, MOST_SCRIPT_BYTES)
        elif not (script or "").strip() and "script" not in self.errors and "file" not in self.errors:
            self.add_error("script", _("Paste a script, or choose a file."))
        if table := cleaned.get("table"):
            if (cleaned.get("parameters") or "").strip():
                self.add_error("parameters", _("Give the table once: as a file or pasted."))
            cleaned["parameters"] = self._read("table", table, 4 * MOST_TABLE)
        cleaned.setdefault("requeue", False)
        cleaned["tasks"], cleaned["parallel"] = cleaned.get("tasks") or 1, cleaned.get("parallel") or 0
        try:
            cleaned["argv"] = shlex.split(cleaned.get("arguments") or "")
        except ValueError:
            self.add_error("arguments", _("A quotation mark isn't closed."))
        return cleaned

    def _read(self, name: str, file: Any, most: int) -> str:
        if file.size > most:
            too_large = {
                "file": _("A script has at most 200 kB. Larger things belong into a dataset."),
                "table": _("A parameter table has at most 1,000,000 characters."),
            }
            self.add_error(name, too_large[name])
            return ""
        try:
            return str(file.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            self.add_error(name, _("This isn't a text file in UTF-8."))
            return ""


def _offer(form: Form, chosen: Offer, counts: Sequence[int], longest: int, typical: int) -> None:
    """Let a form ask for no more than this: numbers of GPUs, and so many minutes."""
    fields: dict[str, Any] = form.fields
    fields["allocation"].initial = chosen.allocation.pk
    fields["gpus"].choices = [(n, ngettext("%(n)s GPU", "%(n)s GPUs", n) % {"n": n}) for n in counts or [1]]
    minutes = fields["limit_s"]
    minutes.max_value = longest
    minutes.validators = [v for v in minutes.validators if getattr(v, "code", "") != "max_value"]
    minutes.validators.append(MaxValueValidator(longest))
    minutes.widget.attrs.update(min=1, max=longest)
    minutes.initial = max(1, min(typical, longest, chosen.most_minutes()))


class SessionForm(Form):
    """Which session, on which allocation, with how much."""

    uuid = Mark()
    kind = forms.ChoiceField(label=_("What to open"))
    allocation = forms.TypedChoiceField(label=_("Allocation"), coerce=int)
    gpus = forms.TypedChoiceField(label=_("GPUs"), coerce=int)
    limit_s = Minutes(
        label=_("Time limit (minutes)"),
        min_value=1,
        help_text=_("The session is ended when it is reached. What it doesn't use comes back."),
    )
    files = forms.MultipleChoiceField(  # type: ignore[assignment]
        label=_("Files of the project"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("The session finds a copy of them in its folder."),
    )

    def __init__(
        self,
        kinds: Sequence[SessionKind],
        offers: Sequence[Offer],
        *args: Any,
        kind: SessionKind,
        chosen: Offer,
        kept: Sequence[ProjectFile] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, Any] = self.fields
        fields["files"].choices = _files(kept)
        fields["uuid"].initial = uuid4
        fields["kind"].choices = [(row.code, row.name) for row in kinds]
        fields["kind"].initial = kind.code
        fields["allocation"].choices = [(offer.allocation.pk, _line_of(offer)) for offer in offers]
        counts = [n for n in chosen.counts if n <= kind.most_gpus]
        longest = max(1, min(chosen.partition.longest_s, kind.longest_s) // 60)
        _offer(self, chosen, counts, longest, TYPICAL_SESSION_MINUTES)


class SessionKindForm(Form):
    """A program that is offered for interactive use."""

    program = forms.ChoiceField(label=pgettext_lazy("session", "Program"), choices=Program)
    code = TextField(label=_("Code"), max_length=40, validators=[a_word])
    name_ko = TextField(label=_("Name (Korean)"), max_length=120)
    name_en = TextField(label=_("Name (English)"), max_length=80)
    command = TextField(
        label=_("Command"),
        max_length=200,
        help_text=_(
            "The program's path, as /opt/jupyter/bin/jupyter-lab, the same on every node of a cluster. For sessions on "
            "this machine, MADANG_JOBS_READ names its folder."
        ),
    )
    most_gpus = WholeNumber(label=_("GPUs per session at most"), min_value=1, max_value=1024, initial=1)
    longest_s = Minutes(label=_("Longest time limit (minutes)"), min_value=1, max_value=7 * 1440, initial=480)
    idle_s = Minutes(
        label=_("Ends when idle for (minutes)"),
        min_value=1,
        max_value=7 * 1440,
        initial=30,
        help_text=_("Idle: nobody does anything in it, and no kernel computes."),
    )


def _files(kept: Sequence[ProjectFile]) -> list[tuple[str, str]]:
    return [(row.path, f"{row.path} ({filesizeformat(row.size)})") for row in kept]


def _line_of(offer: Offer) -> str:
    row = offer.allocation
    return _("%(resource)s (%(partition)s) · %(grant)s (%(number)s) · %(left)s left") % {
        "resource": row.resource.name,
        "partition": offer.partition.name,
        "grant": row.grant.title,
        "number": row.grant.number,
        "left": amounts.left(offer.left, row.resource.unit),
    }


class FilesForm(Form):
    """Files that a project keeps for its jobs."""

    files = Uploads(label=_("Files"))  # type: ignore[assignment]


class TemplateForm(Form):
    """A script to start from."""

    code = TextField(label=_("Code"), max_length=40, help_text=_("Letters, digits and hyphens, for example train-ddp."))
    name_ko = TextField(label=_("Name (Korean)"), max_length=80)
    name_en = TextField(label=_("Name (English)"), max_length=80)
    text_ko = TextField(label=_("What it is for (Korean)"), max_length=400, lines=True)
    text_en = TextField(label=_("What it is for (English)"), max_length=400, lines=True)
    gpus = WholeNumber(label=_("GPUs"), min_value=1, max_value=1024, initial=1)
    limit_s = Minutes(label=_("Time limit (minutes)"), min_value=1, max_value=90 * 1440, initial=TYPICAL_MINUTES)
    tasks = WholeNumber(label=_("Tasks"), min_value=1, max_value=MAX_TASKS, initial=1)
    script = ScriptText(label=_("Script"))
    parameters = TableText(label=_("Parameter table"), required=False)
    needs = TextField(
        label=_("Files that it needs"), max_length=1000, required=False, help_text=_("Names with commas between.")
    )
    requeue = forms.BooleanField(
        label=_("Start again when its node fails or it is preempted"),
        required=False,
        help_text=_("Where the cluster does that. The script has to go on from its own checkpoint."),
    )
    hidden = forms.BooleanField(label=_("Not offered for now"), required=False)

    def clean_needs(self) -> list[str]:
        return [name.strip() for name in self.cleaned_data["needs"].split(",") if name.strip()]


class ClusterForm(Form):
    engine = forms.ChoiceField(label=_("Where its jobs run"), choices=EngineKind, initial=EngineKind.LOCAL)
    code = TextField(
        label=_("Code"), max_length=40, help_text=_("Of a Slurm cluster: its name, as in the setting MADANG_SLURM.")
    )
    name_ko = TextField(label=_("Name (Korean)"), max_length=120)
    name_en = TextField(label=_("Name (English)"), max_length=120)


class StrayForm(Form):
    """Whose a run was that belongs to nobody here."""

    stray = forms.IntegerField(widget=forms.HiddenInput)
    answer = TextField(
        label=_("Whose it was"), max_length=400, help_text=_("For example: a test of the cluster by its operator.")
    )


class ExcessForm(Form):
    """Why a charge is given back, or kept."""

    run = forms.IntegerField(widget=forms.HiddenInput)
    reason = TextField(label=_("What you looked at"), max_length=400)


class DrainForm(Form):
    """Why a node is to take no more jobs."""

    node = forms.IntegerField(widget=forms.HiddenInput)
    reason = TextField(
        label=_("Reason"), max_length=200, help_text=_("In a line. Everybody who asks the cluster reads it.")
    )


class EndForm(Form):
    """Why another's job is to end. `listed`: it was sent from the list of all jobs, which is shown again."""

    listed = forms.BooleanField(widget=forms.HiddenInput, required=False)
    reason = TextField(
        label=_("Reason"),
        max_length=MOST_REASON,
        help_text=_("In a few words. Whose job it is reads it on the job's page and in a letter."),
    )


class WindowForm(Form):
    """When nodes are out of service, and why."""

    starts_at = Instant(label=pgettext_lazy("maintenance", "From"))
    ends_at = Instant(label=pgettext_lazy("maintenance", "Until"))
    reason = TextField(
        label=_("Reason"), max_length=200, help_text=_("In a line. Tenants read it on the pages of their jobs.")
    )


class MaintenanceForm(WindowForm):
    """Which nodes as well. `clusters` have their partitions."""

    where = forms.ChoiceField(label=_("Where"))
    nodes = TextField(
        label=_("Only these nodes"),
        max_length=20_000,
        required=False,
        help_text=_("Their names, with commas between. Empty: all of them."),
    )
    field_order = ("where", "nodes", "starts_at", "ends_at", "reason")

    def __init__(self, clusters: Sequence[Cluster], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = []
        for cluster in clusters:
            choices.append((cluster.code, _("%(cluster)s: all of it") % {"cluster": cluster.name}))
            choices += [
                (f"{cluster.code}/{row.name}", f"{cluster.name}: {row.name}") for row in cluster.partitions.all()
            ]
        self.fields["where"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["engine"], _slash, cleaned["partition"] = cleaned.pop("where", "").partition("/")
        cleaned["nodes"] = cleaned.get("nodes", "").replace(",", " ").split()
        return cleaned


class AccountForm(Form):
    """As whom somebody works on a cluster."""

    cluster = forms.ModelChoiceField(Cluster.objects.none(), label=_("Cluster"))
    email = forms.EmailField(label=_("E-mail"), help_text=_("Of the person, as registered here."))
    name = TextField(
        label=_("User name"), max_length=32, help_text=_("As in the site's directory: it was never another person's.")
    )

    def __init__(self, clusters: Sequence[Cluster], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: Any = self.fields["cluster"]
        choice.queryset = Cluster.objects.filter(pk__in=[row.pk for row in clusters]).order_by("id")
        choice.initial = clusters[0] if len(clusters) == 1 else None


class PartitionForm(Form):
    """The slots of a resource on a cluster."""

    resource = forms.ModelChoiceField(Resource.objects.none(), label=_("Resource"))
    cluster = forms.ModelChoiceField(Cluster.objects.order_by("id"), label=_("Cluster"))
    name = TextField(
        label=_("Name"),
        max_length=40,
        validators=[a_word],
        help_text=_("Letters, digits and hyphens, for example h100."),
    )
    gpu_type = TextField(label=_("GPU type"), max_length=40, validators=[a_word])
    gpus = WholeNumber(label=_("GPUs"), min_value=1, max_value=1024)
    most_gpus = WholeNumber(label=_("GPUs per job at most"), min_value=1, max_value=1024)
    longest_s = Minutes(label=_("Longest time limit (minutes)"), min_value=1, max_value=90 * 1440)
    memory_mb = WholeNumber(label=_("Memory per GPU (MiB)"), min_value=16, max_value=1 << 26, initial=4096)
    declared = forms.BooleanField(
        label=_("The GPUs are declared, not real"),
        required=False,
        help_text=_("Jobs then run on the processor and see no GPU. Every page says so."),
    )

    def __init__(self, resources: Sequence[Resource], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice: Any = self.fields["resource"]
        choice.queryset = Resource.objects.filter(pk__in=[row.pk for row in resources]).order_by("id")
