// A client whose types openapi-typescript has made of the server's own description: it compiles, and what it is told
// at run time is what its types say. Mistakes that the types must catch stand behind `@ts-expect-error`.
import createClient from "openapi-fetch";
import type { components, paths } from "./lastseen.js";

const [url, key] = process.argv.slice(2);
if (!url || !key) throw new Error("usage: client.js URL KEY");
const client = createClient<paths>({
  baseUrl: url,
  headers: { Authorization: `Bearer ${key}` },
  // Lists are comma lists, as the description says; this generator has to be told.
  querySerializer: { array: { style: "form", explode: false } },
});

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const occurred_at = new Date().toISOString();
const login: components["schemas"]["Event"] = {
  id: "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
  type: "login",
  tenant_id: "acme",
  user_id: "a/b ü",
  occurred_at,
};
const created: components["schemas"]["Event"] = {
  ...login,
  id: "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1c",
  type: "user_created",
  user_id: "ada",
  confirmed: false,
};
// @ts-expect-error: user_created needs confirmed
const unconfirmed: components["schemas"]["Event"] = { ...login, type: "user_created" };
// @ts-expect-error: no such type
const logout: components["schemas"]["Event"] = { ...login, type: "logout" };
void [unconfirmed, logout];

const published = await client.POST("/v1/events", { body: [login, created] });
check(published.data?.stored === 2, JSON.stringify(published));
const position = published.data?.position ?? 0;

const summary = await client.GET("/v1/summary", {
  params: { query: { window: "7d", min_position: position, types: ["login", "token_refresh"] } },
});
check(summary.data?.active_users === 1 && summary.data.total_users === 2, JSON.stringify(summary));
const tenants: number | undefined = summary.data?.tenants;
check(tenants === 1, `${tenants}`);
// @ts-expect-error: no such count
void summary.data?.sleeping_users;
// @ts-expect-error: no such parameter
void (() => client.GET("/v1/summary", { params: { query: { windows: "7d" } } }));
// @ts-expect-error: no such path
void (() => client.GET("/v1/sumary"));

const user = await client.GET("/v1/tenants/{tenant_id}/users/{user_id}", {
  params: { path: { tenant_id: "acme", user_id: "a/b ü" } },
});
const seen: string | null | undefined = user.data?.last_seen_at;
check(seen !== null && seen !== undefined && Date.parse(seen) === Date.parse(occurred_at), `${seen}`);
const status: "active" | "inactive" | "pending" | "never_seen" | "deleted" | "left_out" | undefined =
  user.data?.status;
check(status === "active", `${status}`);

const series = await client.GET("/v1/tenants/{tenant_id}/active-users", {
  params: { path: { tenant_id: "acme" }, query: { period: "week", tz: "Europe/Berlin" } },
});
// Without `format=csv` it is JSON, which the description cannot say.
const rows = typeof series.data === "string" ? [] : series.data?.rows;
check(rows?.at(-1)?.active === 1, JSON.stringify(series));

const unknown = await client.GET("/v1/tenants/{tenant_id}/summary", { params: { path: { tenant_id: "nobody" } } });
check(unknown.error?.code === "unknown_tenant" && unknown.response.status === 404, JSON.stringify(unknown));

const backfills = await client.GET("/v1/backfills", { params: { query: { limit: 10 } } });
check(backfills.data?.next_cursor === null && backfills.data.backfills.length === 0, JSON.stringify(backfills));
console.log("typed answers: ok");
