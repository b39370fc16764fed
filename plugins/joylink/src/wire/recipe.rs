//! Recipes: the JSON in type 11 that brings one, and in type 16 that tells how far it is.

use serde::{Deserialize, Serialize};

use super::control::Stream;
use super::{WireError, biz, json};

/// A recipe, as a device without a script gets it. It is answered with [`super::Answer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// When it was sent, in milliseconds since 1970 UTC.
    pub at: i64,
    /// [`biz::RECIPE`] once more.
    pub code: i64,
    /// The device; above what floating point can hold.
    pub feed_id: u64,
    /// Its steps.
    #[serde(rename = "subTask", deserialize_with = "json::list")]
    pub sub_tasks: Vec<Step>,
    /// Number of the recipe.
    pub task_id: i64,
}

/// A step of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Number of the step.
    pub id: i64,
    /// Its place.
    pub index: i64,
    /// Values to set.
    #[serde(deserialize_with = "json::list")]
    pub streams: Vec<Stream>,
}

impl Recipe {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        let recipe: Self = json::object(content)?;
        if recipe.code == i64::from(biz::RECIPE) { Ok(recipe) } else { Err(WireError::Value("code")) }
    }
}

/// How far a recipe is. All members are texts, unlike in [`Recipe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of the recipe.
    pub task_id: String,
    /// The steps that are over.
    #[serde(rename = "subTask", deserialize_with = "json::list")]
    pub sub_tasks: Vec<StepResult>,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// Number of the step.
    pub id: String,
    /// Its place.
    pub index: String,
    /// `0` done, `1` failed, `-1` not run.
    pub result: String,
    /// Local time, such as `2015-05-07 16:03:53`.
    pub start_time: String,
    /// The same.
    pub end_time: String,
}

impl Progress {
    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(report: &[u8]) -> Result<Self, WireError> {
        json::object(report)
    }
}
