//! tract: graphs of ONNX with `LogSoftmax`, `ReduceLogSumExp`, `MatMul`, `Softplus`, `Sigmoid`. No gradients.

use std::marker::PhantomData;

use dpo_kernel::Element;
use dpo_kernel::verify::Transform;
use dpo_kernel::verify::kit::{Output, Pairs};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, type_proto,
};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::framework::Framework as _;

use crate::host::{Figures, Framework, Labels, Matrix, Product};

/// Tensors of E.
pub(crate) struct Tract<E>(pub(crate) PhantomData<E>);

/// ONNX's number of f32, of i64.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// The nodes of a graph as they are added.
#[derive(Default)]
struct Graph(GraphProto);

impl Graph {
    /// A node of one output, which it returns.
    fn node(&mut self, operation: &str, inputs: &[&str], attributes: &[(&str, i64)]) -> String {
        let output = format!("{operation}{}", self.0.node.len());
        let attribute = |&(name, i): &(&str, i64)| {
            let kind = |kind: attribute_proto::AttributeType| kind as i32;
            let list = name == "axes";
            AttributeProto {
                name: name.into(),
                i: if list { 0 } else { i },
                ints: if list { vec![i] } else { Vec::new() },
                r#type: kind(if list {
                    attribute_proto::AttributeType::Ints
                } else {
                    attribute_proto::AttributeType::Int
                }),
                ..AttributeProto::default()
            }
        };
        self.0.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: operation.into(),
            attribute: attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
        output
    }

    fn number(&mut self, value: f64) -> String {
        let name = format!("number{}", self.0.initializer.len());
        #[allow(clippy::cast_possible_truncation, reason = "it is a number of f32")]
        let float_data = vec![value as f32];
        let name_of = name.clone();
        let tensor =
            TensorProto { data_type: FLOAT, float_data, name: name_of, ..TensorProto::default() };
        self.0.initializer.push(tensor);
        name
    }

    fn value(name: &str, elem_type: i32) -> ValueInfoProto {
        let tensor = type_proto::Tensor { elem_type, shape: None::<TensorShapeProto> };
        let value = Some(type_proto::Value::TensorType(tensor));
        let r#type = Some(TypeProto { value, ..TypeProto::default() });
        ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
    }

    /// y of x; a transform is made in f32, as 16 bits would round each of its operations.
    fn transformed(&mut self, x: &str, transform: &Transform) -> String {
        if *transform == Transform::NONE {
            return x.into();
        }
        let x = self.node("Cast", &[x], &[("to", FLOAT.into())]);
        let scale = self.number(transform.scale);
        let mut y = self.node("Mul", &[&x, &scale], &[]);
        if let Some(softcap) = transform.softcap {
            let softcap = self.number(softcap);
            y = self.node("Div", &[&y, &softcap], &[]);
            y = self.node("Tanh", &[&y], &[]);
            y = self.node("Mul", &[&y, &softcap], &[]);
            // What is masked stays so.
            let masked = self.number(f64::NEG_INFINITY);
            let is_masked = self.node("Equal", &[&x, &masked], &[]);
            y = self.node("Where", &[&is_masked, &masked, &y], &[]);
        }
        let temperature = self.number(transform.temperature);
        self.node("Div", &[&y, &temperature], &[])
    }

    /// log p of targets and log Z of y.
    fn softmax(&mut self, y: &str) -> [String; 2] {
        let log_p = self.node("LogSoftmax", &[y], &[("axis", 1)]);
        let log_probs = self.node("GatherElements", &[&log_p, "targets"], &[("axis", 1)]);
        [log_probs, self.node("ReduceLogSumExp", &[y], &[("axes", 1), ("keepdims", 0)])]
    }

    /// Runs the graph on inputs of fixed shapes.
    fn run(mut self, inputs: Vec<(&str, Tensor)>, outputs: &[String]) -> TractResult<TVec<TValue>> {
        let number = |tensor: &Tensor| match tensor.datum_type() {
            DatumType::I64 => INT64,
            DatumType::F16 => 10,
            _ => FLOAT,
        };
        let of = |(name, tensor): &(&str, Tensor)| Self::value(name, number(tensor));
        self.0.input = inputs.iter().map(of).collect();
        self.0.output = outputs.iter().map(|output| Self::value(output, 0)).collect();
        let opset = OperatorSetIdProto { domain: String::new(), version: 13 };
        let proto = ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(self.0),
            ..ModelProto::default()
        };
        let mut model = onnx().with_ignore_output_types(true).model_for_proto_model(&proto)?;
        for (place, (_, tensor)) in inputs.iter().enumerate() {
            let fact = InferenceFact::dt_shape(tensor.datum_type(), tensor.shape());
            model = model.with_input_fact(place, fact)?;
        }
        let runnable = model.into_optimized()?.into_runnable()?;
        runnable.run(inputs.into_iter().map(|(_, tensor)| tensor.into()).collect())
    }
}

fn tensor<E: Datum + Copy>(x: &Matrix<E>) -> TractResult<Tensor> {
    Tensor::from_shape(&[x.rows, x.columns], &x.values)
}

fn targets(labels: &Labels) -> TractResult<Tensor> {
    let ids: Vec<i64> = labels.targets.iter().map(|&target| target.into()).collect();
    Tensor::from_shape(&[ids.len(), 1], &ids)
}

/// In the format of the logits, and then exactly.
fn numbers<E: Datum>(found: Option<&TValue>) -> TractResult<Vec<f64>> {
    let Some(found) = found else { return Ok(Vec::new()) };
    let narrow = found.cast_to::<E>()?;
    let wide = narrow.cast_to::<f64>()?;
    Ok(wide.to_plain_array_view::<f64>()?.iter().copied().collect())
}

impl<E: Element + Datum + Copy> Framework for Tract<E> {
    type Element = E;
    type Error = TractError;

    fn name(&self) -> &'static str {
        "tract 0.23.9"
    }

    fn offers(&self) -> &[Output] {
        &[
            Output::LogProb,
            Output::LogZ,
            Output::Argmax,
            Output::MeanLogit,
            Output::PairLoss,
            Output::HeadLogProb,
            Output::HeadLogZ,
        ]
    }

    fn rows(&self, x: &Matrix<E>, labels: &Labels) -> TractResult<Figures> {
        let mut graph = Graph::default();
        let y = graph.transformed("x", &labels.transform);
        let [log_probs, log_z] = graph.softmax(&y);
        let argmax = graph.node("ArgMax", &[&y], &[("axis", 1), ("keepdims", 0)]);
        let mean = graph.node("ReduceMean", &[&y], &[("axes", 1), ("keepdims", 0)]);
        let inputs = vec![("x", tensor(x)?), ("targets", targets(labels)?)];
        let found = graph.run(inputs, &[log_probs, log_z, argmax, mean])?;
        let argmax = match found.get(2) {
            Some(argmax) => {
                let argmax = argmax.cast_to::<u32>()?;
                argmax.to_plain_array_view::<u32>()?.iter().copied().collect()
            }
            None => Vec::new(),
        };
        Ok(Figures {
            log_probs: numbers::<E>(found.first())?,
            log_z: numbers::<E>(found.get(1))?,
            argmax,
            mean_logit: numbers::<E>(found.get(3))?,
        })
    }

    fn pairs(&self, pairs: &Pairs<'_>) -> TractResult<Vec<[f32; 6]>> {
        let rows = pairs.log_probs.len();
        #[allow(clippy::cast_possible_truncation, reason = "they are numbers of f32")]
        let list = |values: Vec<f64>| {
            let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
            Tensor::from_shape(&[rows], &values)
        };
        let log_probs = |of: &dyn Fn(&dpo_kernel::verify::PairLogProbs) -> f64| {
            list(pairs.log_probs.iter().map(of).collect())
        };
        let inputs = vec![
            ("chosen", log_probs(&|pair| pair.policy_chosen)?),
            ("rejected", log_probs(&|pair| pair.policy_rejected)?),
            ("ref_chosen", log_probs(&|pair| pair.reference_chosen)?),
            ("ref_rejected", log_probs(&|pair| pair.reference_rejected)?),
            ("weight", list(pairs.weights.to_vec())?),
            ("offset", list(pairs.offsets.to_vec())?),
        ];
        let mut graph = Graph::default();
        let (beta, epsilon) =
            (graph.number(pairs.dpo.beta), graph.number(pairs.dpo.label_smoothing));
        let of_chosen = graph.node("Sub", &["chosen", "ref_chosen"], &[]);
        let of_rejected = graph.node("Sub", &["rejected", "ref_rejected"], &[]);
        let of_both = graph.node("Sub", &[&of_chosen, &of_rejected], &[]);
        let rewards = [&of_chosen, &of_rejected].map(|x| graph.node("Mul", &[&beta, x], &[]));
        let margin = graph.node("Mul", &[&beta, &of_both], &[]);
        let z = graph.node("Sub", &[&margin, "offset"], &[]);
        let minus_z = graph.node("Neg", &[&z], &[]);
        let plus = graph.node("Softplus", &[&minus_z], &[]);
        let smoothing = graph.node("Mul", &[&epsilon, &z], &[]);
        let curve = graph.node("Add", &[&plus, &smoothing], &[]);
        let loss = graph.node("Mul", &["weight", &curve], &[]);
        let sigma = graph.node("Sigmoid", &[&minus_z], &[]);
        let slope = graph.node("Sub", &[&epsilon, &sigma], &[]);
        let steepness = graph.node("Mul", &["weight", &beta], &[]);
        let d_chosen = graph.node("Mul", &[&steepness, &slope], &[]);
        let d_rejected = graph.node("Neg", &[&d_chosen], &[]);
        let [reward_chosen, reward_rejected] = rewards;
        let outputs = [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected];
        let found = graph.run(inputs, &outputs)?;
        let number = |column: usize, row: usize| -> TractResult<f32> {
            let Some(column) = found.get(column) else { return Ok(f32::NAN) };
            Ok(column.to_plain_array_view::<f32>()?.iter().nth(row).copied().unwrap_or(f32::NAN))
        };
        let row = |row| {
            let mut figures = [0.0; 6];
            for (column, figure) in figures.iter_mut().enumerate() {
                *figure = number(column, row)?;
            }
            Ok(figures)
        };
        (0..rows).map(row).collect()
    }

    fn head(&self, product: &Product<E>, labels: &Labels) -> TractResult<Figures> {
        let mut graph = Graph::default();
        let mut inputs = vec![("hidden", tensor(&product.hidden)?)];
        inputs.push(("weight", tensor(&product.weight)?));
        inputs.push(("targets", targets(labels)?));
        let weight = graph.node("Transpose", &["weight"], &[]);
        let mut x = graph.node("MatMul", &["hidden", &weight], &[]);
        if let Some(bias) = &product.bias {
            inputs.push(("bias", Tensor::from_shape(&[bias.len()], bias)?));
            x = graph.node("Add", &[&x, "bias"], &[]);
        }
        let y = graph.transformed(&x, &labels.transform);
        let outputs = graph.softmax(&y);
        let found = graph.run(inputs, &outputs)?;
        Ok(Figures {
            log_probs: numbers::<E>(found.first())?,
            log_z: numbers::<E>(found.get(1))?,
            ..Figures::default()
        })
    }
}
