-- wrk: lists for users at random; of a hundred requests, MALFORMED are no good. The counts are printed as JSON.
local users, malformed = {}, tonumber(os.getenv("MALFORMED") or "0")
for line in io.lines(os.getenv("USERS")) do users[#users + 1] = line end
math.randomseed(1)
local key = "Bearer " .. os.getenv("KEY")
wrk.headers["Authorization"] = key

local function post(path, kind, body)  -- headers given to wrk.format stand instead of wrk.headers: the key has to be among them
  return wrk.format("POST", path, { ["Authorization"] = key, ["Content-Type"] = kind }, body)
end

local bad = {  -- all with a key that is good; serve.py knows how each has to be refused
  function() return wrk.format("GET", "/recommend?user=" .. users[1] .. "&k=0") end,
  function() return wrk.format("GET", "/recommend?user=nobody%00%ff") end,
  function() return wrk.format("GET", "/nowhere/../etc/passwd") end,
  function() return post("/recommend", "application/json", "{\"user\":") end,
  function() return post("/feedback", "application/json", "[]") end,
  function() return post("/recommend", "multipart/form-data", "--a\r\nContent-Disposition: form-data; name=\"im") end,
}

request = function()
  if math.random(100) <= malformed then return bad[math.random(#bad)]() end
  return wrk.format("GET", "/recommend?k=10&user=" .. users[math.random(#users)])
end

statuses = {}
if malformed > 0 then  -- looking at every answer costs wrk time
  response = function(status)
    local name = tostring(status)
    statuses[name] = (statuses[name] or 0) + 1
  end
end

local threads = {}
setup = function(thread) threads[#threads + 1] = thread end
done = function(summary, latency)
  local failed, mix = 0, {}
  for _, kind in ipairs({ "connect", "read", "write", "timeout" }) do failed = failed + summary.errors[kind] end
  for status, number in pairs(threads[1]:get("statuses")) do mix[#mix + 1] = string.format("\"%s\": %d", status, number) end
  print(string.format(
    "RESULT {\"requests\": %d, \"seconds\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"failed\": %d, \"refused\": %d, \"statuses\": {%s}}",
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, failed, summary.errors.status, table.concat(mix, ", ")))
end
