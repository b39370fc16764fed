//! Values of data points as bodies carry them: a list of objects with one member each (Clife protocol, 7.2).

use serde_json::{Map, Value as Json, json};

use super::product::Product;

/// Reads `params` of the device; values by decimal id.
pub(super) fn parse(params: &Json, product: &Product) -> Result<Map<String, Json>, String> {
    let list = params.as_array().ok_or_else(|| format!("params must be a list: {params}"))?;
    let mut values = Map::new();
    for entry in list {
        let members = entry.as_object().filter(|members| members.len() == 1);
        let (id, value) = members
            .and_then(|members| members.iter().next())
            .ok_or_else(|| format!("{entry} in params, an object with one member expected"))?;
        if !product.has_point(id) {
            return Err(format!("{id:?} in params is the id of no data point"));
        }
        if !(value.is_boolean() || value.is_number() || value.is_string()) {
            return Err(format!("data point {id} is {value}; a boolean, a number or a text expected"));
        }
        if values.insert(id.clone(), value.clone()).is_some() {
            return Err(format!("data point {id} twice in {params}"));
        }
    }
    Ok(values)
}

/// `params` of the platform.
pub(super) fn write(values: &[(String, Json)]) -> Json {
    values.iter().map(|(id, value)| json!({id: value})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_a_list_of_objects_with_one_known_id_each() {
        let product = Product::default();
        let right = json!([{"1": true}, {"2": "cool"}, {"3": 21.5}]);
        let values = parse(&right, &product).unwrap();
        assert_eq!(Json::Object(values), json!({"1": true, "2": "cool", "3": 21.5}));
        for (params, fault) in [
            (json!({"1": true}), "must be a list"),
            (json!([{"1": true, "2": "cool"}]), "one member"),
            (json!([{}]), "one member"),
            (json!([1]), "one member"),
            (json!([{"01": true}]), "no data point"),
            (json!([{"switch": true}]), "no data point"),
            (json!([{"99": true}]), "no data point"),
            (json!([{"1": null}]), "a boolean"),
            (json!([{"1": [1]}]), "a boolean"),
            (json!([{"1": true}, {"1": false}]), "twice"),
        ] {
            let error = parse(&params, &product).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
        assert_eq!(
            write(&[("1".to_owned(), json!(false)), ("5".to_owned(), json!(30))]),
            json!([{"1": false}, {"5": 30}])
        );
    }
}
