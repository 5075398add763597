// Save the results as CSV or JSON. The files are made here; nothing is sent.

import { h } from "./dom.js";
import { toast } from "./notices.js";
import { isAccepted, state } from "./state.js";
import { counted, toUtc } from "./words.js";

const COLUMNS = ["rank", "row", "similarity", "accepted", "rejected", "false_match_rate", "bound", "probability", "person", "camera", "time", "track", "source"];

/** One flat record a hit, in the order of the results, also of hidden ones. */
function records(hits) {
  return hits.map((hit) => ({
    rank: hit.rank,
    row: hit.row.id,
    similarity: hit.similarity,
    accepted: isAccepted(hit),
    rejected: state.rejected.has(hit.row.id),
    false_match_rate: hit.false_match_rate,
    bound: hit.bound,
    probability: hit.probability,
    person: hit.row.person,
    camera: hit.row.camera,
    time: hit.row.time,
    track: hit.row.track,
    source: hit.row.source,
  }));
}

/** A cell as RFC 4180 has it. A text that a spreadsheet would run as a formula gets an apostrophe in front. */
export function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(hits) {
  const lines = records(hits).map((record) => COLUMNS.map((column) => cell(record[column])).join(","));
  return `${[COLUMNS.join(","), ...lines].join("\r\n")}\r\n`;
}

export function json(hits) {
  const { cameras, after, before, person } = state.filters;
  const document = {
    made: new Date().toISOString(),
    model: state.info.model,
    query: state.queries.map(({ row, file, box }) => (row ? { row: row.id } : { file: file.name, box })),
    filters: { cameras: [...cameras], after: toUtc(after), before: toUtc(before), person },
    threshold: state.threshold,
    calibration: state.info.calibration.threshold?.id ?? null,
    searched: state.mode === "search" ? state.searched : null,
    results: records(hits),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

export function save(kind) {
  const { hits } = state;
  const [text, type] = kind === "csv" ? [csv(hits), "text/csv"] : [json(hits), "application/json"];
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const stamp = new Date().toISOString().slice(0, 16).replace(/[:T]/g, "-");
  h("a", { href: address, download: `${state.mode === "search" ? "search" : "gallery"}-${stamp}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  const accepted = hits.filter((hit) => isAccepted(hit)).length;
  toast(`Saved ${counted(hits.length, "result")}${state.mode === "search" && state.threshold !== null ? `, ${accepted} of them at or above the threshold` : ""}.`);
}
