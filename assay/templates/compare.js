"use strict";
// Sorts tables by a click on a heading, and lights up an experiment in table and pictures when the pointer is on it.

function compareCells(first, second) {
  const a = first.dataset.value, b = second.dataset.value;
  if (a === "" || b === "") return (a === "") - (b === "");  // unknown values
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? a.localeCompare(b, undefined, { numeric: true }) : difference;
}

function sortBy(heading) {
  const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
  const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const rows = [...body.rows].sort((first, second) => {
    const a = first.cells[column], b = second.cells[column];
    const unknown = a.dataset.value === "" || b.dataset.value === "";
    return (unknown ? 1 : direction) * compareCells(a, b);
  });
  body.append(...rows);
}

function light(section, row, on) {
  for (const part of section.querySelectorAll(`[data-row="${row}"]`)) {
    part.classList.toggle("lit", on);
    if (on && part.tagName === "g") part.parentNode.append(part);  // above the other curves
  }
}

for (const heading of document.querySelectorAll("th")) heading.addEventListener("click", () => sortBy(heading));
for (const section of document.querySelectorAll("section")) {
  for (const part of section.querySelectorAll("[data-row]")) {
    part.addEventListener("pointerenter", () => light(section, part.dataset.row, true));
    part.addEventListener("pointerleave", () => light(section, part.dataset.row, false));
  }
}
