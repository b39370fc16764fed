-- Uses all that can run out of memory, in any place.

local function build(n)
  local list = {}
  for i = 1, n do list[i] = { id = i, name = "item " .. i, on = i % 2 == 0, half = i / 2 } end
  return list
end

function f(text)
  local ok, why = pcall(error, { code = 1 })
  local list = build(40)
  local json = cjson.encode(list)
  local again = cjson.decode(json)
  local bad, message = pcall(cjson.decode, "{")
  local wrong, words = pcall(bit.band, {})
  local hex = text:gsub(".", function(byte) return bit.tohex(byte:byte(), 2) end)
  local caught = select("#", xpcall(function() return nothing.at_all end, function(e) return e .. "!" end))
  table.sort(again, function(a, b) return a.id > b.id end)
  print(json, again[1].name, message, words)
  local strings = {}
  for i = 1, 200 do strings[i] = ("%d:%s"):format(i, hex:sub(1, 10)) end
  return #json, again[1].id, hex, table.concat({ unpack(strings) }, ","), select("#", unpack(strings)) + caught
end
