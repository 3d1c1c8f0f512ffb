// Sorts tables by the buttons in their column headers. Without this script the tables keep their order.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  table.caption.append(". Its column headers are buttons that sort it.");
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => ({ row, cell: row.cells[column] }));
      rows.sort((a, b) => compare(a.cell, b.cell, down ? -1 : 1));
      body.append(...rows.map(({ row }) => row));
    });
  });
}
// Numbers by their value, in either direction before cells without a number; text in natural order.
function compare(a, b, sign) {
  const [x, y] = [a, b].map((cell) => (cell.dataset.sort === undefined ? NaN : Number(cell.dataset.sort)));
  if (Number.isFinite(x) && Number.isFinite(y)) return sign * (x - y);
  if (Number.isFinite(x) !== Number.isFinite(y)) return Number.isFinite(x) ? -1 : 1;
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}
