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
  for (const place of document.querySelectorAll("[data-chart]")) {
    if (place.dataset.drawn) continue;
    place.dataset.drawn = "1";
    const option = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const locale = document.body.dataset.language === "ko" ? "KO" : "EN";
    const chart = echarts.init(place, null, { renderer: "svg", locale });
    chart.setOption({
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
      legend: option.legend && { textStyle: text, top: 0, ...option.legend },
    });
    new ResizeObserver(() => chart.resize()).observe(place);
  }
};
