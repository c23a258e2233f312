// Tables: a click on a heading sorts by the number in data-v where a cell has one (empty = undefined, always last), else by
// text; the box above filters by the first column. Printing opens every folded part.
document.querySelectorAll("table.sortable").forEach(function (table) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  function key(row, i) {
    const value = row.cells[i].getAttribute("data-v");
    return value === null ? row.cells[i].textContent.trim().toLowerCase() : value === "" ? null : +value;
  }
  heads.forEach(function (head, i) {
    head.querySelector("button").addEventListener("click", function () {
      const sorted = head.getAttribute("aria-sort");
      const up = sorted === null ? i === 0 : sorted === "descending";
      heads.forEach(h => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      [...body.rows].map(row => [key(row, i), row]).sort(function ([a], [b]) {
        if (a === null || b === null) return (a === null) - (b === null);
        return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1);
      }).forEach(pair => body.appendChild(pair[1]));
    });
  });
  const box = document.querySelector('input[data-for="' + table.id + '"]');
  if (box) box.addEventListener("input", function () {
    const wanted = box.value.toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    document.getElementById(table.id + "-shown").textContent = shown + " of " + body.rows.length + " shown";
  });
});
addEventListener("beforeprint", function () {
  document.querySelectorAll("details").forEach(part => { part.open = true; });
});
