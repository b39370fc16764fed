-- The HEX of the tank: byte 0 the pump (0, 1, or 255 for "not said"), bytes 1 and 2 the level in mm (65535: not said).
-- The platform runs the mirror image of this script.

function encode(code, json)
  local v = cjson.decode(json)
  assert(code == 18, "this product has properties only")
  local pump = v.pump == nil and 255 or (v.pump and 1 or 0)
  local level = v.level or 65535
  return string.char(pump, math.floor(level / 256), level % 256)
end

function decode(code, bytes)
  if code == 25 then
    return "[]" -- all of them
  end
  assert(code == 22 and #bytes == 1 and bytes:byte() < 2, "this product is only told to switch its pump")
  return cjson.encode({ pump = bytes:byte() == 1 })
end
