/* What is pleasant to have and not needed: every page works without this file. */
(() => {
  "use strict";

  const ready = (root) => {
    for (const button of root.querySelectorAll(".script:not([data-picture])")) button.classList.add("ready");
    const summary = root.querySelector("[data-focus]");
    if (summary) summary.focus();
    for (const tab of root.querySelectorAll(".tabs [aria-current]")) {
      const list = tab.closest(".tabs");
      list.scrollLeft += Math.max(0, tab.getBoundingClientRect().right - list.getBoundingClientRect().right);
    }
    if (root.querySelector("[data-chart]")) charts();
  };

  let asked = false;
  const script = (source) => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = source;
    element.onload = resolve;
    element.onerror = reject;
    document.head.append(element);
  });
  const charts = async () => {
    const { echarts, echartsLanguage, chartScript } = document.body.dataset;
    if (!asked) {
      asked = true;
      await script(echarts);
      await script(echartsLanguage);
      await script(chartScript);
    }
    if (window.madangCharts) window.madangCharts();
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) {
      await navigator.clipboard.writeText(button.dataset.copy);
      const label = button.querySelector("span");
      const before = label.textContent;
      label.textContent = button.dataset.done;
      setTimeout(() => { label.textContent = before; }, 2000);
    }
    if (event.target.closest("[data-print]")) window.print();
    for (const open of document.querySelectorAll(".site-tools details[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });

  /* On paper nothing can be opened. */
  window.addEventListener("beforeprint", () => {
    for (const more of document.querySelectorAll("main details:not([open])")) { more.open = true; more.dataset.printed = "1"; }
  });
  window.addEventListener("afterprint", () => {
    for (const more of document.querySelectorAll("details[data-printed]")) { more.open = false; delete more.dataset.printed; }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll(".site-tools details[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });

  /* The server refuses a second click anyway; this spares people the refusal. */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 2000);
  });

  document.addEventListener("DOMContentLoaded", () => ready(document));
  /* What stands there is the answer to what was asked before: it must not pass for a new one. */
  for (const failed of ["htmx:responseError", "htmx:sendError"]) {
    document.addEventListener(failed, (event) => event.detail.target?.classList.add("stale"));
  }
  /* A table that comes anew stays where it was scrolled to, and who was in it stays there. */
  document.addEventListener("htmx:oobBeforeSwap", ({ detail: { target } }) => {
    const tables = [...target.querySelectorAll(".table-scroll")];
    const left = tables.map((table) => table.scrollLeft);
    const here = tables.indexOf(document.activeElement);
    if (here < 0 && !left.some(Boolean)) return;
    queueMicrotask(() => {
      document.getElementById(target.id)?.querySelectorAll(".table-scroll").forEach((table, place) => {
        table.scrollLeft = left[place] ?? 0;
        if (place === here) table.focus({ preventScroll: true });
      });
    });
  });
  document.addEventListener("htmx:afterSettle", (event) => ready(event.target));
})();
