// Sorting of tables by a click on a column's head. Without this script the tables stand as they are.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
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
      rows.sort((a, b) => (down ? -1 : 1) * compare(a.cell, b.cell) || 0);
      body.append(...rows.map(({ row }) => row));
    });
  });
}
function compare(a, b) {
  const [x, y] = [a, b].map((cell) => (cell.dataset.sort === undefined ? NaN : Number(cell.dataset.sort)));
  if (Number.isFinite(x) && Number.isFinite(y)) return x - y;
  if (Number.isFinite(x) !== Number.isFinite(y)) return Number.isFinite(x) ? -1 : 1;
  return a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}
