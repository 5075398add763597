// The page "find this person": start its parts and ask the service what it holds.

import { onTokenNeeded } from "./api.js";
import { byId } from "./dom.js";
import { askToken } from "./dialogs.js";
import * as filters from "./filters.js";
import * as keys from "./keys.js";
import * as query from "./query.js";
import * as results from "./results.js";
import { loadInfo, refresh } from "./searching.js";
import { state, subscribe } from "./state.js";
import * as threshold from "./threshold.js";
import { counted } from "./words.js";

function renderFacts() {
  const { rows, people, cameras } = state.info;
  const parts = [counted(rows, "picture"), people ? counted(people, "person", "people") : "", cameras.length ? counted(cameras.length, "camera") : ""];
  byId("facts").textContent = `${parts.filter(Boolean).join(" · ")}${state.info.writable ? "" : " · read only"}`;
}

onTokenNeeded(askToken);
for (const part of [query, threshold, filters, results, keys]) part.start();
subscribe(["info"], () => state.info && renderFacts());
if (await loadInfo()) await refresh();
