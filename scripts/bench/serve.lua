-- wrk: lists for users at random; of a hundred requests, MALFORMED are no good. The counts are printed as JSON.
local users, malformed = {}, tonumber(os.getenv("MALFORMED") or "0")
for line in io.lines(os.getenv("USERS")) do users[#users + 1] = line end
math.randomseed(1)
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")

local bad = {
  function() return wrk.format("GET", "/recommend?user=" .. users[1] .. "&k=0") end,
  function() return wrk.format("GET", "/recommend?user=nobody%00%ff") end,
  function() return wrk.format("GET", "/nowhere/../etc/passwd") end,
  function() return wrk.format("POST", "/recommend", { ["Content-Type"] = "application/json" }, "{\"user\":") end,
  function() return wrk.format("POST", "/feedback", { ["Content-Type"] = "application/json" }, "[]") end,
  function() return wrk.format("GET", "/health", { ["Authorization"] = "Bearer wrong" }) end,
}

request = function()
  if math.random(100) <= malformed then return bad[math.random(#bad)]() end
  return wrk.format("GET", "/recommend?k=10&user=" .. users[math.random(#users)])
end

faults, refused = 0, 0
if malformed > 0 then  -- looking at every answer costs wrk time
  response = function(status)
    if status >= 500 then faults = faults + 1 elseif status >= 400 then refused = refused + 1 end
  end
end

local threads = {}
setup = function(thread) threads[#threads + 1] = thread end
done = function(summary, latency)
  local failed = 0
  for _, kind in ipairs({ "connect", "read", "write", "timeout" }) do failed = failed + summary.errors[kind] end
  print(string.format(
    "RESULT {\"requests\": %d, \"seconds\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"failed\": %d, \"refused\": %d, \"faults\": %d}",
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, failed, malformed > 0 and threads[1]:get("refused") or summary.errors.status,
    malformed > 0 and threads[1]:get("faults") or 0))
end
