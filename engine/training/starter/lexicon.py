"""Everyday words of both languages: they make sentences of any content, and the tokenizer learns them."""


def words(text: str) -> list[str]:
    """Return the words of `text`, parted by spaces."""
    return text.split()


ENGLISH = words(
    "order item customer store account card page number address name time day week month year price cost "
    "money payment invoice receipt refund return exchange delivery shipping package box parcel courier "
    "warehouse stock product device machine battery charger cable screen button switch light water heat "
    "power energy engine filter tent sleeping bag camp stove rope boots jacket bottle tool kit spare part "
    "repair warranty service support team staff manager office meeting project report plan budget "
    "contract policy rule law form document file folder letter message email phone call website app "
    "software update version password login user member guest visitor student teacher school class course "
    "lesson book paper test exam grade answer question example study research science history language "
    "word sentence story music film game sport player match goal winner season event party food drink "
    "bread milk coffee tea sugar salt fruit apple orange rice meat fish egg cheese soup dinner lunch "
    "kitchen table chair room door window wall floor roof garden house building street road city town "
    "village country river lake sea mountain forest tree flower animal dog cat bird horse weather rain "
    "snow wind sun summer winter spring autumn morning evening night today tomorrow health doctor "
    "hospital medicine patient blood heart body hand head eye foot hair skin pain sleep rest train bus "
    "car bike plane ticket station airport hotel trip travel map border tax bank credit debit cash loan "
    "rate market company business industry worker job work salary leave holiday insurance claim damage "
    "fault error problem reason result change check choose clean close collect contact contain continue "
    "cover create cut decide deliver describe design dry end enter expect explain fill find finish fold "
    "follow freeze give grow happen hear help hold improve include increase install keep know large last "
    "late learn list long lose low make mark mean measure meet move need new next normal offer old open "
    "paid pay place press print protect provide pull push put quick raise reach read ready receive record "
    "reduce register remove rent replace reply request reset safe sale save say search second seal sell "
    "send separate set share short show sign simple size small soft sort sound special stand start state "
    "stay step stop store strong submit supply sure take tell thick thin transfer turn type unpack use "
    "valid value wait walk warm wash wear weigh wet wide within without write wrong young free full first "
    "extra every early easy easily difficult different deep dark cold cheap careful broken black best "
    "better average annual available allow against across about what which when where who why how much "
    "many long does your you they them their there these those from have been were"
)
CHINESE = words(
    "订单 商品 客户 商店 账号 银行卡 页面 号码 地址 姓名 时间 日期 星期 月份 价格 费用 支付 发票 收据 "
    "退款 退货 换货 配送 快递 包裹 仓库 库存 产品 设备 机器 电池 充电器 屏幕 按钮 开关 灯光 用水 加热 "
    "电源 能量 发动机 滤网 冰箱 洗衣机 空调 帐篷 睡袋 工具 配件 维修 保修 服务 客服 团队 员工 经理 办公室 "
    "会议 项目 报告 计划 预算 合同 政策 规定 法律 表格 文件 文档 信件 消息 邮件 电话 网站 软件 更新 版本 "
    "密码 登录 用户 会员 客人 学生 老师 学校 课程 图书 纸张 考试 成绩 答案 问题 例子 学习 研究 科学 历史 "
    "语言 词语 故事 音乐 电影 游戏 运动 球员 比赛 冠军 季节 活动 食物 饮料 面包 牛奶 咖啡 茶叶 白糖 食盐 "
    "水果 苹果 橙子 米饭 猪肉 鱼类 鸡蛋 晚饭 午饭 厨房 桌子 椅子 房间 大门 窗户 墙壁 地板 屋顶 花园 房屋 "
    "建筑 街道 道路 城市 乡村 国家 河流 湖泊 大海 高山 森林 树木 花草 动物 天气 下雨 下雪 大风 太阳 夏天 "
    "冬天 春天 秋天 早晨 晚上 今天 明天 健康 医生 医院 药品 病人 心脏 身体 睡眠 休息 火车 公交 汽车 飞机 "
    "车票 车站 机场 酒店 旅行 地图 税务 银行 信用 现金 贷款 利率 市场 公司 行业 工人 工作 工资 请假 假期 "
    "保险 理赔 损坏 故障 错误 原因 结果 变化 检查 选择 清洁 关闭 收集 联系 包含 继续 覆盖 创建 决定 说明 "
    "设计 干燥 结束 进入 解释 填写 完成 折叠 冷冻 发生 帮助 保持 提高 包括 增加 安装 知道 列表 丢失 测量 "
    "移动 需要 下一步 普通 提供 打开 付款 地方 打印 保护 推荐 阅读 准备 收到 记录 减少 注册 移除 租赁 "
    "更换 回复 申请 重置 安全 销售 保存 搜索 密封 出售 发送 分开 设置 分享 签名 简单 大小 特别 开始 状态 "
    "步骤 停止 强度 提交 供应 转账 类型 拆开 使用 有效 数值 等待 加温 清洗 重量 宽度 免费 额外 提前 容易 "
    "困难 不同 便宜 小心 平均 每年 可用 允许 关于 未拆封 自动 手动 模式 温度 湿度 噪音 水压 电压 运费 "
    "包邮 签收 物流 优惠 折扣 积分 评价 投诉"
)
WORDS = {"en": ENGLISH, "zh": CHINESE}
