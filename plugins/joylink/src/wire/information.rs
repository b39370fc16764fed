//! The JSON in type 15: a device asks for the weather and the quality of the air.

use serde::{Deserialize, Serialize};

use super::WireError;
use super::json::{self, Json};

/// What a device asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InformationRequest {
    /// [`WEATHER`], [`AIR`], or both.
    #[serde(rename = "type")]
    pub kinds: Vec<String>,
}

impl InformationRequest {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(info: &[u8]) -> Result<Self, WireError> {
        json::object(info)
    }
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InformationAnswer {
    /// One for each kind that the cloud knows of.
    #[serde(deserialize_with = "json::list")]
    pub result: Vec<Item>,
}

/// One kind of information.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// [`WEATHER`] or [`AIR`].
    #[serde(rename = "type")]
    pub kind: String,
    /// [`Weather`], [`Air`], or what a later cloud may tell.
    pub value: Json,
}

impl InformationAnswer {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(info: &[u8]) -> Result<Self, WireError> {
        json::object(info)
    }

    /// The weather, if it was told.
    #[must_use]
    pub fn weather(&self) -> Option<Weather> {
        self.value(WEATHER)?.parse()
    }

    /// The quality of the air, if it was told.
    #[must_use]
    pub fn air(&self) -> Option<Air> {
        self.value(AIR)?.parse()
    }

    fn value(&self, kind: &str) -> Option<&Json> {
        self.result.iter().find(|item| item.kind == kind).map(|item| &item.value).filter(|value| value.is_object())
    }
}

/// The weather; what the cloud leaves out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weather {
    /// City.
    pub city_name: String,
    /// Part of it.
    pub district: String,
    /// Province.
    pub proven: String,
    /// Number of the city.
    pub city_code: String,
    /// When it was told, such as `2015-10-30T08:00:00+0800`.
    pub publish_time: String,
    /// What will be.
    #[serde(deserialize_with = "json::list")]
    pub forecast: Vec<Forecast>,
}

/// The weather of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Forecast {
    /// The day.
    pub day: String,
    /// Lowest temperature.
    pub low: String,
    /// Highest temperature.
    pub high: String,
    /// The sky by day.
    pub d_phenomena: String,
    /// The sky by night.
    pub n_phenomena: String,
    /// Force of the wind by day.
    pub d_force: String,
    /// Force of the wind by night.
    pub n_force: String,
    /// Direction of the wind by day.
    pub d_direction: String,
    /// Direction of the wind by night.
    pub n_direction: String,
    /// Such as `06:44|18:21`.
    pub sunrise_sunset: String,
}

/// The quality of the air; what the cloud leaves out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Air {
    /// Fine dust.
    pub pm25: String,
    /// Index of quality.
    pub aqi: String,
    /// When it was told.
    pub publish_time: String,
}

/// Type of information: the weather (JoyLink V1.79, information fetch).
pub const WEATHER: &str = "weather";

/// Type of information: the quality of the air (JoyLink V1.79, information fetch).
pub const AIR: &str = "air";
