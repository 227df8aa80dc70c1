"""HTML of the operators' page."""

from collections.abc import Sequence
from html import escape

from apps import cards
from engine.accounts.plans import HOUR, PLANS
from engine.accounts.schemas import TenantView
from engine.flows.schedule_jobs import Overview, Waiting
from engine.jobs.schemas import DeviceView, JobView, MachineView, Spent
from engine.kit.messages import t
from studio.handlers import access


def machines(now: Overview, language: str) -> str:
    """Return a card for each machine: what runs on it, and a bar for each device."""
    if not now.machines:
        return cards.note(t("studio.no_machines", language), "bad")
    shown = "".join(_machine(machine, now.running, language) for machine in now.machines)
    return f'<div class="mbe-stack">{shown}</div>'


def _machine(machine: MachineView, running: Sequence[tuple[JobView, TenantView]], language: str) -> str:
    here = [job for job, _ in running if job.machine == machine.name]
    short = sum(job.queue != "training" for job in here)
    facts = [
        t("studio.slots_used", language, used=short, slots=machine.slots),
        t("studio.trainings_here", language, count=len(here) - short),
    ]
    if not machine.devices:
        facts.append(t("studio.no_devices", language))
    devices = "".join(_device(device, here, language) for device in machine.devices)
    told = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return (
        f'<div class="mbe-card"><div class="mbe-job-top"><b>{escape(machine.name)}</b>'
        f"{cards.state(t('studio.machine_alive', language), 'good').text}</div>"
        f'<div class="mbe-job-facts">{told}</div>{devices}</div>'
    )


def _device(device: DeviceView, here: Sequence[JobView], language: str) -> str:
    share = min(100, round(100 * device.used / device.memory)) if device.memory else 0
    who = ", ".join(job.title for job in here if job.device_id == device.id)
    said = t(
        "studio.device_used",
        language,
        used=cards.size(device.used),
        memory=cards.size(device.memory),
        who=who,
    )
    return (
        f"<p>{escape(device.name)} · {device.number}</p>"
        f'<div class="mbe-bar-track" role="progressbar" aria-label="{escape(device.id)}" '
        f'aria-valuenow="{share}" aria-valuemin="0" aria-valuemax="100"><i style="width:{share}%"></i></div>'
        f'<div class="mbe-job-facts"><span>{escape(said)}</span></div>'
    )


def running(found: Sequence[tuple[JobView, TenantView]], language: str) -> str:
    """Return the table of running jobs."""
    if not found:
        return cards.empty(t("studio.nothing_runs", language))
    headers = [
        t(f"studio.{key}", language) for key in ("job", "tenant", "machine", "state", "steps", "since")
    ]
    rows: list[list[cards.Cell]] = [
        [
            access.job_title(job, language),
            f"{tenant.name} ({tenant.plan})",
            job.device_id or job.machine or "–",
            cards.state(job.state_text(language), cards.JOB_TONES[job.state]),
            f"{job.done:,} / {job.total:,}" if job.total else "–",
            cards.moment(job.started_at, language),
        ]
        for job, tenant in found
    ]
    return cards.table(headers, rows, t("studio.running_jobs", language))


def waiting(found: Sequence[Waiting], language: str) -> str:
    """Return the table of waiting jobs, in the order in which they will start."""
    if not found:
        return cards.empty(t("studio.nothing_waits", language))
    headers = [
        t(f"studio.{key}", language)
        for key in ("job", "place", "tenant", "queue_name", "score", "waits_for", "since")
    ]
    rows: list[list[cards.Cell]] = [
        [
            access.job_title(each.job, language),
            each.place.number,
            f"{each.tenant.name} ({each.tenant.plan})",
            t(f"studio.queue_{each.job.queue}", language),
            each.place.score,
            t(f"studio.waits_{each.place.reason}", language, memory=cards.size(each.job.memory)),
            cards.moment(each.job.queued_at, language),
        ]
        for each in found
    ]
    return cards.table(headers, rows, t("studio.waiting_jobs", language))


def tenants(found: Sequence[tuple[TenantView, Spent]], language: str) -> str:
    """Return the table of tenants with their plans and this month's hours."""
    headers = [
        t(f"studio.{key}", language) for key in ("tenant", "plan_name", "plan_cpu", "plan_gpu", "created")
    ]
    rows: list[list[cards.Cell]] = [
        [
            tenant.name,
            tenant.plan,
            _hours(spent.cpu, PLANS[tenant.plan].cpu_seconds),
            _hours(spent.gpu, PLANS[tenant.plan].gpu_seconds),
            cards.moment(tenant.created_at, language),
        ]
        for tenant, spent in found
    ]
    return cards.table(headers, rows, t("studio.tenants", language))


def _hours(used: float, most: int | None) -> cards.Html:
    words = f"{used / HOUR:.2f}" + ("" if most is None else f" / {most // HOUR}")
    return cards.Html(words, used)
