"""Which types a model file may hold, by the kind of node that they stand in: nothing else is ever loaded."""

from __future__ import annotations

_S = "sklearn."


_OWN = "core.learning.models."


# Classes that are made empty and given their attributes: none of them runs anything of the file by that.
OBJECTS: frozenset[str] = frozenset(
    {
        *(
            _OWN + name
            for name in (
                "Committee",
                "Converted",
                "FillEmpty",
                "NearClassifier",
                "NearRegressor",
                "ResidualBoosting",
                "RowNumbered",
            )
        ),
        *(f"{_S}_loss.link.{n}Link" for n in ("Identity", "Log", "Logit", "HalfLogit")),
        f"{_S}_loss.link.Interval",
        f"{_S}_loss.link.MultinomialLogit",
        *(
            f"{_S}_loss.loss.{n}"
            for n in (
                "AbsoluteError",
                "ExponentialLoss",
                "HalfBinomialLoss",
                "HalfGammaLoss",
                "HalfMultinomialLoss",
                "HalfPoissonLoss",
                "HalfSquaredError",
                "PinballLoss",
            )
        ),
        f"{_S}calibration.CalibratedClassifierCV",
        f"{_S}calibration._CalibratedClassifier",
        f"{_S}calibration._SigmoidCalibration",
        f"{_S}compose._column_transformer.ColumnTransformer",
        f"{_S}compose._target.TransformedTargetRegressor",
        f"{_S}decomposition._pca.PCA",
        f"{_S}discriminant_analysis.LinearDiscriminantAnalysis",
        f"{_S}discriminant_analysis.QuadraticDiscriminantAnalysis",
        f"{_S}dummy.DummyClassifier",
        f"{_S}dummy.DummyRegressor",
        *(
            f"{_S}ensemble.{n}"
            for n in (
                "_bagging.BaggingClassifier",
                "_bagging.BaggingRegressor",
                "_forest.ExtraTreesClassifier",
                "_forest.ExtraTreesRegressor",
                "_forest.RandomForestClassifier",
                "_forest.RandomForestRegressor",
                "_hist_gradient_boosting.binning._BinMapper",
                "_hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
                "_hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
                "_hist_gradient_boosting.predictor.TreePredictor",
                "_stacking.StackingClassifier",
                "_stacking.StackingRegressor",
                "_voting.VotingClassifier",
                "_voting.VotingRegressor",
                "_weight_boosting.AdaBoostClassifier",
                "_weight_boosting.AdaBoostRegressor",
            )
        ),
        f"{_S}feature_selection._variance_threshold.VarianceThreshold",
        f"{_S}impute._base.MissingIndicator",
        f"{_S}impute._base.SimpleImputer",
        *(
            f"{_S}linear_model.{n}"
            for n in (
                "_base.LinearRegression",
                "_bayes.ARDRegression",
                "_bayes.BayesianRidge",
                "_coordinate_descent.ElasticNet",
                "_coordinate_descent.ElasticNetCV",
                "_coordinate_descent.Lasso",
                "_coordinate_descent.LassoCV",
                "_glm.glm.GammaRegressor",
                "_glm.glm.PoissonRegressor",
                "_glm.glm.TweedieRegressor",
                "_huber.HuberRegressor",
                "_logistic.LogisticRegression",
                "_logistic.LogisticRegressionCV",
                "_perceptron.Perceptron",
                "_ridge.Ridge",
                "_ridge.RidgeCV",
                "_ridge.RidgeClassifier",
                "_ridge.RidgeClassifierCV",
                "_stochastic_gradient.SGDClassifier",
                "_stochastic_gradient.SGDRegressor",
            )
        ),
        *(f"{_S}naive_bayes.{n}NB" for n in ("Bernoulli", "Categorical", "Complement", "Gaussian", "Multinomial")),
        f"{_S}neighbors._classification.KNeighborsClassifier",
        f"{_S}neighbors._regression.KNeighborsRegressor",
        f"{_S}neural_network._multilayer_perceptron.MLPClassifier",
        f"{_S}neural_network._multilayer_perceptron.MLPRegressor",
        f"{_S}neural_network._stochastic_optimizers.AdamOptimizer",
        f"{_S}neural_network._stochastic_optimizers.SGDOptimizer",
        f"{_S}pipeline.FeatureUnion",
        f"{_S}pipeline.Pipeline",
        *(
            f"{_S}preprocessing.{n}"
            for n in (
                "_data.Binarizer",
                "_data.MaxAbsScaler",
                "_data.MinMaxScaler",
                "_data.Normalizer",
                "_data.PowerTransformer",
                "_data.QuantileTransformer",
                "_data.RobustScaler",
                "_data.StandardScaler",
                "_discretization.KBinsDiscretizer",
                "_encoders.OneHotEncoder",
                "_encoders.OrdinalEncoder",
                "_function_transformer.FunctionTransformer",
                "_label.LabelBinarizer",
                "_label.LabelEncoder",
                "_polynomial.PolynomialFeatures",
            )
        ),
        f"{_S}svm._classes.LinearSVC",
        f"{_S}svm._classes.LinearSVR",
        *(f"{_S}tree._classes.{n}" for n in ("DecisionTreeClassifier", "DecisionTreeRegressor")),
        *(f"{_S}tree._classes.{n}" for n in ("ExtraTreeClassifier", "ExtraTreeRegressor")),
    }
)


LOSSES: frozenset[str] = frozenset(
    {
        *(
            f"{_S}_loss._loss.Cy{n}"
            for n in (
                "AbsoluteError",
                "ExponentialLoss",
                "HalfBinomialLoss",
                "HalfGammaLoss",
                "HalfMultinomialLoss",
                "HalfPoissonLoss",
                "HalfSquaredError",
                "HalfTweedieLoss",
                "HalfTweedieLossIdentity",
                "PinballLoss",
            )
        ),
        *(f"{_S}linear_model._sgd_fast.{n}" for n in ("EpsilonInsensitive", "Hinge", "ModifiedHuber")),
        *(f"{_S}linear_model._sgd_fast.{n}" for n in ("SquaredEpsilonInsensitive", "SquaredHinge")),
    }
)


# Element-wise functions that a FunctionTransformer may hold.
FUNCTIONS: frozenset[str] = frozenset(
    f"numpy.{n}"
    for n in (
        *(
            "absolute",
            "arctan",
            "cbrt",
            "ceil",
            "cos",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "log",
            "log10",
            "log1p",
            "log2",
        ),
        *("negative", "reciprocal", "rint", "sign", "sin", "sqrt", "square", "tanh"),
    )
)


_SCALARS: frozenset[str] = frozenset(
    f"numpy.{n}"
    for n in (
        *("bool", "bool_", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("str_", "uint8", "uint16", "uint32", "uint64"),
    )
)


KEYS: frozenset[str] = frozenset({"builtins.str", "builtins.int", "builtins.float", "builtins.bool"}) | _SCALARS


TREE = f"{_S}tree._tree.Tree"


# Kind of node -> types that may stand in it.
ALLOWED: dict[str, frozenset[str]] = {
    "DTypeNode": frozenset({"numpy.dtype"}),
    "DictNode": frozenset({"builtins.dict", f"{_S}utils._bunch.Bunch"}),
    "FunctionNode": FUNCTIONS,
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": LOSSES,
    "NdArrayNode": frozenset({"numpy.ndarray"}) | _SCALARS,
    "ObjectNode": OBJECTS,
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
    "SetNode": frozenset({"builtins.set"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "TreeNode": frozenset({TREE}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": KEYS | {"builtins.object"},
}
