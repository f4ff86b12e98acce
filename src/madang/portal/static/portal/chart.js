/* Draws each [data-chart] from the option beside it, in the colors of the page. The table with the same figures is always there. */
window.madangCharts = () => {
  "use strict";
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const text = { color: color("--text"), fontFamily: color("--font"), fontSize: 14 };
  const line = { lineStyle: { color: color("--line") } };
  const axis = (given) => ({
    axisLabel: { ...text, color: color("--text-subtle") }, axisLine: line, axisTick: { show: false }, splitLine: line, nameTextStyle: text, ...given,
  });
  const axes = (given) => (Array.isArray(given) ? given.map(axis) : given && axis(given));
  const PAPER = 600; // CSS pixels: about the width of the text on a sheet of A4
  /* A picture to paste into a report: as on the page, with its title, on the page's ground, at twice the density. */
  const save = (drawn, title, locale) => {
    const sheet = echarts.init(document.createElement("div"), null, { renderer: "canvas", width: 1200, height: 640, devicePixelRatio: 2, locale });
    sheet.setOption({
      ...drawn,
      title: { text: title, left: 24, top: 20, textStyle: { ...text, fontSize: 22, fontWeight: 700 } },
      legend: drawn.legend && { ...drawn.legend, top: 64 },
      grid: { ...drawn.grid, left: 24, right: 32, top: drawn.legend ? 128 : 88, bottom: 24 },
    });
    const link = document.createElement("a");
    link.download = `${title.replace(/[\\/:*?"<>|]/g, " ").trim()}.png`;
    link.href = sheet.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: color("--surface") });
    link.click();
    sheet.dispose();
  };
  for (const place of document.querySelectorAll("[data-chart]")) {
    if (place.dataset.drawn) continue;
    place.dataset.drawn = "1";
    const option = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const locale = document.body.dataset.language === "ko" ? "KO" : "EN";
    const chart = echarts.init(place, null, { renderer: "svg", locale });
    const drawn = {
      color: [1, 2, 3, 4, 5, 6].map((number) => color(`--chart-${number}`)),
      textStyle: text,
      animation: false,
      grid: { left: 8, right: 8, top: 48, bottom: 8, containLabel: true },
      tooltip: { trigger: "axis", textStyle: { fontFamily: text.fontFamily } },
      aria: { enabled: true },
      ...option,
      xAxis: axes(option.xAxis),
      yAxis: axes(option.yAxis),
      // A series may name its color by number, so that a band has that of its line.
      series: [].concat(option.series || []).map(({ tone, ...given }) => ({
        ...(given.type === "bar" && { barMaxWidth: 40 }), ...(tone && { color: color(`--chart-${tone}`) }), ...given,
      })),
      legend: option.legend && { type: "scroll", textStyle: text, top: 0, ...option.legend },
    };
    chart.setOption(drawn);
    new ResizeObserver(() => chart.resize()).observe(place);
    window.addEventListener("beforeprint", () => { chart.resize({ width: PAPER }); chart.getZr().flush(); });
    window.addEventListener("afterprint", () => chart.resize({ width: "auto" }));
    for (const button of document.querySelectorAll(`[data-picture="${place.dataset.chart}"]`)) {
      button.classList.add("ready");
      button.addEventListener("click", () => save(drawn, document.getElementById(`${place.dataset.chart}-title`).textContent, locale));
    }
  }
};
