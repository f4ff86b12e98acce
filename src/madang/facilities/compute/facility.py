"""What the grants room asks of computing and of storage."""

from __future__ import annotations

from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _

from madang.calls.models import ApplicationLine
from madang.catalog.models import Kind, ResourceState
from madang.facilities.compute import sessions, storage
from madang.facilities.compute.models import Partition
from madang.grants.facility import Action, Card, Finding
from madang.grants.models import Allocation, AllocationState
from madang.jobs import actions as jobs
from madang.jobs.models import LIVE, Job
from madang.web.amounts import written
from madang.workflow.errors import Refused


class ComputeFacility:
    """A use is a job. Opening makes no account anywhere: the local engine asks the ledger by way of the job's hold."""

    kind = Kind.COMPUTE

    def feasibility(self, line: ApplicationLine) -> list[Finding]:
        call = line.call_line.call
        resource = line.call_line.resource
        findings = []
        if resource.state != ResourceState.OPEN:
            findings.append(Finding(_("This resource isn't lent for now."), blocking=True))
        partition: Partition | None = getattr(resource, "partition", None)
        if partition is None:
            findings.append(Finding(_("No partition runs jobs for this resource yet.")))
            return findings
        if call.use and call.use.upper and call.use.lower:
            most = partition.gpus * 86_400 * (call.use.upper - call.use.lower).days
            if line.amount > most:
                findings.append(
                    Finding(
                        _("This is more than the whole partition has on the days of use (%(most)s).")
                        % {"most": written(most, resource.unit)},
                        blocking=True,
                    )
                )
            elif line.amount * 2 > most:
                findings.append(Finding(_("This is more than half of the partition on all days of use.")))
        if partition.declared:
            findings.append(Finding(_("The GPUs of this partition are declared, not real.")))
        return findings

    def hold(self, line: ApplicationLine, until: datetime) -> None:
        pass  # GPU time isn't set aside by the clock; the ledger's pool is what the call may give

    def release(self, line: ApplicationLine) -> None:
        pass

    def open(self, allocation: Allocation) -> None:
        pass

    def pause(self, allocation: Allocation, reason: str) -> None:
        """New jobs are refused from now on; those that live are asked to end, and what they don't use comes back."""
        jobs.end_all(allocation, reason="the allocation is paused")

    def resume(self, allocation: Allocation) -> None:
        pass

    def close(self, allocation: Allocation) -> None:
        """Refused while a job lives: the refusal takes back that it was asked to end, so pausing has to come first."""
        jobs.end_all(allocation, reason="the allocation is closed")
        if Job.objects.filter(allocation=allocation, state__in=LIVE).exists():
            raise Refused(
                _("Jobs still run on “%(resource)s”. Pause the allocation first: its jobs end, then close.")
                % {"resource": allocation.resource.name}
            )

    def card(self, allocation: Allocation) -> Card:
        if allocation.state != AllocationState.OPEN:
            return Card()
        new = f"{reverse('compute:new')}?allocation={allocation.pk}"
        listed = f"{reverse('compute:jobs')}?allocation={allocation.pk}"
        return Card(
            text=_("Run your own script on these GPUs. A job holds its worst case; what it doesn't use comes back."),
            actions=[Action(_("Submit a job"), new, main=True), *_session(allocation), Action(_("Jobs"), listed)],
        )


def _session(allocation: Allocation) -> list[Action]:
    """The way to a session, where the site has any: its page says whether one can run on this allocation."""
    address = f"{reverse('compute:session_new')}?allocation={allocation.pk}"
    return [Action(_("Start a session"), address)] if sessions.offered() else []


class StorageFacility:
    """A use is a quota held: what the runs of the grant leave on the disk is sampled and charged."""

    kind = Kind.STORAGE

    def feasibility(self, line: ApplicationLine) -> list[Finding]:
        if line.call_line.resource.state != ResourceState.OPEN:
            return [Finding(_("This resource isn't lent for now."), blocking=True)]
        return []

    def hold(self, line: ApplicationLine, until: datetime) -> None:
        pass

    def release(self, line: ApplicationLine) -> None:
        pass

    def open(self, allocation: Allocation) -> None:
        storage.charge(allocation)

    def pause(self, allocation: Allocation, reason: str) -> None:
        pass

    def resume(self, allocation: Allocation) -> None:
        pass

    def close(self, allocation: Allocation) -> None:
        storage.charge(allocation)

    def card(self, allocation: Allocation) -> Card:
        if allocation.state not in (AllocationState.OPEN, AllocationState.PAUSED):
            return Card()
        most = storage.quota_mb(allocation, allocation.grant)
        return Card(
            text=_("The results of your jobs are kept here, until you delete them or the grant ends."),
            facts=[(_("Quota"), _size(most))],
            actions=[
                Action(_("Files of the project"), f"{reverse('compute:files')}?grant={allocation.grant.number}"),
                Action(_("Files of your jobs"), reverse("compute:jobs")),
            ],
        )


def _size(megabytes: int) -> str:
    """`10_000_000` → "10 TB"."""
    unit, size = next(((unit, size) for unit, size in (("TB", 10**6), ("GB", 10**3)) if megabytes >= size), ("MB", 1))
    return f"{megabytes / size:,.2f}".rstrip("0").rstrip(".") + f" {unit}"
