-- A lamp with a frame of its own: 0xA5, the lower byte of the bizcode, pairs of id and value (power 1 byte; level 2 bytes,
-- low byte first; no pair but a zero for a query), and the sum of all bytes before.
local cjson = require("cjson")

local function sum(bytes)
  local total = 0
  for i = 1, #bytes do total = total + bytes:byte(i) end
  return string.char(bit.band(total, 0xFF))
end

local function frame(kind, body)
  local bytes = string.char(0xA5, kind) .. body
  return 0, #bytes + 1, bytes .. sum(bytes)
end

local writers = {
  power = function(value) return string.char(0x01, value) end,
  level = function(value) return string.char(0x02, bit.band(value, 0xFF), bit.rshift(value, 8)) end,
}

local function set(cmd)
  local body = {}
  for _, stream in ipairs(cjson.decode(cmd).streams) do
    body[#body + 1] = writers[stream.stream_id](tonumber(stream.current_value))
  end
  return table.concat(body)
end

function jds2pri(bizcode, cmd)
  if bizcode == 1004 then return frame(0x04, "\0") end
  local ok, body = pcall(set, cmd)
  if not ok then return -1, 0, "" end
  return frame(0x02, body)
end

function pri2jds(bizcode, length, bin)
  if #bin ~= length or sum(bin:sub(1, -2)) ~= bin:sub(-1) then return -1, "", bizcode end
  local streams, at = {}, 3
  while at < #bin do
    local id = bin:byte(at)
    if id == 0x01 then
      table.insert(streams, { stream_id = "power", current_value = tostring(bin:byte(at + 1)) })
      at = at + 2
    else
      local low, high = bin:byte(at + 1, at + 2)
      table.insert(streams, { stream_id = "level", current_value = tostring(low + high * 256) })
      at = at + 3
    end
  end
  return 0, cjson.encode({ code = 0, streams = streams }), 104
end
