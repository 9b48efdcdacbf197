"use strict";
(() => {
  for (const section of document.querySelectorAll("section")) {
    const table = section.querySelector("table.runs");
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.firstChild.onclick = () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const value = (row) => Number(row.cells[column].dataset.value);
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [left, right] = [value(a), value(b)];
          if (Number.isNaN(left) || Number.isNaN(right)) return Number.isNaN(left) - Number.isNaN(right);
          return descending ? right - left : left - right;
        });
        table.tBodies[0].append(...rows);
      };
    });
    const point = (run) => {
      section.classList.toggle("pointed", run !== undefined);
      for (const mark of section.querySelectorAll("svg [data-run]")) mark.classList.toggle("on", mark.dataset.run === run);
    };
    section.onpointerover = (event) => point(event.target.closest("[data-run]")?.dataset.run);
    section.onpointerleave = () => point(undefined);
  }
})();
